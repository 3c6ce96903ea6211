// Package answer is below the one that serves.
package answer
