"""The forms in which explanations are answered: Markdown, text for terminals, JSON, and Mermaid."""
