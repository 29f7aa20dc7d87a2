"""How warm each workload is kept, and when: policies that choose between memory that waits and calls that wait."""
