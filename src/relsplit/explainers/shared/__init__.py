"""What several methods share: captum's needs, the image without information, a random seed for each image."""
