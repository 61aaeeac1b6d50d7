"""Who may come in, and what goes out: guard, login, sessions, share link."""
