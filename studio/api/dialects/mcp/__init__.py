"""Tools for assistants: the Model Context Protocol over streamable HTTP."""
