"""What a run gives away about its training patients, and what it does when others come."""
