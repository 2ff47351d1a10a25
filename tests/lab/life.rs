//! How a lab begins and ends: by Ctrl-C, by `kill -9`, beside another, as an ordinary user.
