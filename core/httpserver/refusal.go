package httpserver

// refusal is why a connection was refused.
type refusal uint8

const (
	refusedNot refusal = iota
	refusedBareLF
	refusedMethod
	refusedPreface
	refusedFold
	refusedLength
	refusedTwoLengths
	refusedTwoFramings
	refusedTwoEncodings
	refusedEncoding10
	refusedFramingLine
	refusedChunk
	refusedTrailer
	refusedHost
	refusedTarget
	refusedConnect
	refusedLine
	refusedVersion
	refusedField
	refusedCoding
	refusedHeadSize
	refusedSlowHead
	refusedExpectation
	refusals // how many there are
)

// refusalNames are the labels in Stats.
var refusalNames = [refusals]string{
	refusedNot:          "",
	refusedBareLF:       "bare_lf",
	refusedMethod:       "method",
	refusedPreface:      "preface",
	refusedFold:         "folded_header",
	refusedLength:       "content_length",
	refusedTwoLengths:   "two_content_lengths",
	refusedTwoFramings:  "content_length_and_transfer_encoding",
	refusedTwoEncodings: "two_transfer_encodings",
	refusedEncoding10:   "transfer_encoding_on_http10",
	refusedFramingLine:  "framing_header_size",
	refusedChunk:        "chunk",
	refusedTrailer:      "trailer",
	refusedHost:         "host",
	refusedTarget:       "target",
	refusedConnect:      "connect",
	refusedLine:         "request_line",
	refusedVersion:      "version",
	refusedField:        "header_line",
	refusedCoding:       "transfer_encoding",
	refusedHeadSize:     "head_size",
	refusedSlowHead:     "slow_head",
	refusedExpectation:  "expectation",
}
