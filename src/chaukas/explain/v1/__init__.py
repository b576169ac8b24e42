"""Generated from proto/ by scripts/generate_contract.py; do not edit."""
