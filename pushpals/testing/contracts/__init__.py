"""One suite of tests per port; every implementation runs all of it."""
