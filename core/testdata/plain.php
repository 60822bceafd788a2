<?php

// A worker that knows neither Edge nor traces: RoadRunner's frames, one request at a time, and its RPC over the socket it is told of.

declare(strict_types=1);

function frame(int $flags, string $payload, int ...$options): string
{
    $head = pack('CCV', 0x13 + count($options), $flags, strlen($payload));

    return $head . pack('Vv', crc32($head), 0) . pack('V*', ...$options) . $payload;
}

/** @return array{int, list<int>, string} */
function receive($from): array
{
    $read = function (int $n) use ($from): string {
        for ($bytes = ''; strlen($bytes) < $n; $bytes .= $more) {
            $more = fread($from, $n - strlen($bytes));
            if ($more === false || $more === '') {
                exit(0);
            }
        }

        return $bytes;
    };
    $head = unpack('Cfirst/Cflags/Vsize', $read(12));
    $options = ($head['first'] & 15) > 3 ? array_values(unpack('V*', $read(4 * (($head['first'] & 15) - 3)))) : [];

    return [$head['flags'], $options, $head['size'] ? $read($head['size']) : ''];
}

$rpc = stream_socket_client(getenv('RR_RPC'));
$call = function (string $method, array $argument) use ($rpc): string {
    fwrite($rpc, frame(0x08, $method . json_encode($argument), 1, strlen($method)));
    [$flags, , $payload] = receive($rpc);

    return $flags & 0x40 ? throw new RuntimeException($payload) : $payload;
};

while (true) {
    [$flags, $options, $payload] = receive(STDIN);
    if ($flags & 1) {
        if (str_contains($payload, 'stop')) {
            exit(0);
        }
        fwrite(STDOUT, frame(1, json_encode(['pid' => getmypid()])));
        continue;
    }
    $call('kv.MGet', ['storage' => 'counters', 'items' => [['key' => 'visits']]]);
    $call('kv.Set', ['storage' => 'counters', 'items' => [['key' => 'visits', 'value' => base64_encode('1')]]]);
    $head = "\x08\xc8\x01";
    fwrite(STDOUT, frame(0x80, $head . 'hello', strlen($head)));
}
