"""Work on the state itself, beside a platform or while it is stopped: archives, verification, rebuilding, schemas."""
