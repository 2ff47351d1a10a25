//! Real kubectl against a lab that is up.
