"""Publishing and control from the server's side: for Python (`python`), and over HTTP (`views`)."""
