"""Who somebody is: accounts, keys, certificates, passwords."""
