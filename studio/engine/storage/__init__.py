"""What lies in the outputs folder: the database, images with their names, inputs, and durable writing."""
