"""Networks that tell candidate models apart, and the one loop that trains them."""
