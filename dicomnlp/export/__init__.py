"""How findings leave: tables, FHIR resources, and what takes identities out of them."""
