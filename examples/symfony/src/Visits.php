<?php

declare(strict_types=1);

namespace App;

use Symfony\Contracts\Service\ResetInterface;

/** Counts within one request. In a worker that forgot to reset its services it would count across them. */
final class Visits implements ResetInterface
{
    private int $count = 0;

    public function count(): int
    {
        return ++$this->count;
    }

    public function reset(): void
    {
        $this->count = 0;
    }
}
