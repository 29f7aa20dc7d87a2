"""Lend, return, start and evict instances; the queue of each revision; how warm each one is kept."""
