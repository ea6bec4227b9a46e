"""The policy: what YAML may say (schema), reading it (load), the checked model, and its compiled tables."""
