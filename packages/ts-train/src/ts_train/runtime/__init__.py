"""What a run needs from the machine: devices, number formats, process groups, recorded steps."""
