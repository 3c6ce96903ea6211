// Package lost has no rule of its own.
package lost
