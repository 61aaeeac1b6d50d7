"""Access to the server: guard, login, sessions, share link."""
