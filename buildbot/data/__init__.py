"""What callers may ask and do: get, startConsuming, watch, control, update; one file of updates per noun."""
