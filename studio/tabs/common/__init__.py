"""Code that tabs share: form, result panel, running a job, sending images, browser memory."""
