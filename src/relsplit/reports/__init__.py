"""What people read: tables, figures, pictures, the dashboard, the HTML page."""
