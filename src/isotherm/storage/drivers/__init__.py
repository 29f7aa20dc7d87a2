"""One file per place where blobs can lie."""
