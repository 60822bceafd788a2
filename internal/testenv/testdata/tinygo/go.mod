module tinygo

go 1.26.0

require github.com/tinygo-org/tinygo v0.41.1
