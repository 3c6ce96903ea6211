package template

// Replacing is the table of the properties whose change replaces a resource.
func Replacing() map[string][]string { return replacing }
