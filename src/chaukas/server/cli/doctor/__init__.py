"""What `chaukas doctor` looks at: a module for each thing that can be wrong. Nothing here changes anything."""
