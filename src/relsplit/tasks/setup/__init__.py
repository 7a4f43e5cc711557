"""What the tasks are put together from."""
