<?php

declare(strict_types=1);

namespace Edge;

/** Whether a part of the server, such as a PHP pool by its name, lives and takes requests. Busy workers take requests. */
final class Status
{
    private readonly RPC $rpc;

    public function __construct(?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /** Why it does not live, or null. */
    public function problem(string $plugin): ?string
    {
        return self::read($this->rpc->call('status.Status', ['plugin' => $plugin]));
    }

    /** Why it takes no requests, or null. */
    public function unready(string $plugin): ?string
    {
        return self::read($this->rpc->call('status.Ready', ['plugin' => $plugin]));
    }

    /** @param array{code: int, message: string} $answer */
    private static function read(array $answer): ?string
    {
        return $answer['code'] === 200 ? null : $answer['message'];
    }
}
