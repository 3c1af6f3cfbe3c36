"""Would the tests notice? Small faults in the modules that guard bytes and doors, one at a time."""
