"""What moves inside the control process: fan-out of log lines, progress of deploys, what hosts last said."""
