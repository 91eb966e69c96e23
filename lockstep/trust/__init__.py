"""Who may vouch for what: keys, signed records, the trust root, verification of a release."""
