"""Platform formats: their data, the crop that keeps the subject, the export."""
