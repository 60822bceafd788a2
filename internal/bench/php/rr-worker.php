<?php

declare(strict_types=1);

// A worker that knows nothing of Edge: it speaks RoadRunner's protocol over pipes as RoadRunner's own packages do, one frame at
// a time, with the greeting answered in the loop and the two messages in protobuf. It decodes no more than it needs: what
// this target shows is the server's side.
$scenarios = require __DIR__ . '/scenarios.php';

$read = static function (int $length): string {
    for ($bytes = ''; ($left = $length - strlen($bytes)) > 0; $bytes .= $part) {
        $part = fread(STDIN, $left);
        if ($part === '' || $part === false) {
            exit(1); // the server is gone
        }
    }

    return $bytes;
};

$write = static function (int $flags, string $payload, int ...$options): void {
    $start = pack('CCV', 0x13 + count($options), $flags, strlen($payload));
    fwrite(STDOUT, $start . pack('V', crc32($start)) . "\0\0" . ($options ? pack('V*', ...$options) : '') . $payload);
};

$varint = static function (string $bytes, int &$at): int {
    for ($n = $shift = 0; ; $shift += 7) {
        $byte = ord($bytes[$at++]);
        $n |= ($byte & 0x7f) << $shift;
        if ($byte < 0x80) {
            return $n;
        }
    }
};

// The path out of the URI, which is field 4 of the request.
$path = static function (string $context) use ($varint): string {
    for ($at = 0; $at < strlen($context);) {
        $tag = $varint($context, $at);
        $value = $varint($context, $at);
        if ($tag === (4 << 3 | 2)) {
            return parse_url(substr($context, $at, $value), PHP_URL_PATH);
        }
        $at += ($tag & 7) === 2 ? $value : 0;
    }
    throw new RuntimeException('the request has no URI');
};

// A field of bytes, none of which is as long as 128 here.
$field = static fn (int $number, string $bytes): string => chr($number << 3 | 2) . chr(strlen($bytes)) . $bytes;

while (true) {
    ['head' => $head, 'flags' => $flags, 'length' => $length] = unpack('Chead/Cflags/Vlength', $read(12));
    $options = ($head & 0x0f) > 3 ? array_values(unpack('V*', $read(4 * (($head & 0x0f) - 3)))) : [];
    $payload = $length > 0 ? $read($length) : '';
    if ($flags & 0x01) {
        if (isset(json_decode($payload, true)['stop'])) {
            exit;
        }
        $write(0x01, json_encode(['pid' => getmypid()]));
        continue;
    }
    $context = substr($payload, 0, $options[0]);
    $scenario = $scenarios[$path($context)] ?? null;
    if ($scenario === null) {
        $write(0x80, "\x08\x94\x03", 3); // 404
        continue;
    }
    [$type, $body] = $scenario(static fn (): string => substr($payload, $options[0]));
    $answer = "\x08\xc8\x01" . $field(2, $field(1, 'Content-Type') . $field(2, $field(1, $type)));
    $write(0x80, $answer . $body, strlen($answer));
}
