"""The plain fields of requests by topic, each declared once; `fields.py` puts them into one table."""
