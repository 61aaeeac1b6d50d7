"""The outputs folder: database, images with their names, inputs, and durable writing."""
