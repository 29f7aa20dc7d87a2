"""The warden: the one root process. Forks, mounts, makes cgroups, kills and reaps. Standard library alone."""
