"""What lies in models/ and how more gets there: files told apart, hashed, downloaded."""
