"""The API's description by OpenAPI 3.1: `document` writes it, `reading` and `changing` say what each endpoint takes."""
