// Package table is there.
package table
