//! Date and time as XEP-0082 writes them.
