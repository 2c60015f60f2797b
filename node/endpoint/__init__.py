"""The local HTTP door for shop systems: answers of customers come in, nothing goes out."""
