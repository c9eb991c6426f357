"""The heads of hospitals' release ledgers, countersigned by the server."""
