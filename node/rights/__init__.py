"""What a person in the data may ask for, carried out here."""
