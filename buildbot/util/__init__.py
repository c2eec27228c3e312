"""Small rooms, each named after one thing; they import nothing of ours."""
