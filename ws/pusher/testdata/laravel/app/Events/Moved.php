<?php

namespace App\Events;

use Illuminate\Broadcasting\InteractsWithSockets;
use Illuminate\Broadcasting\PresenceChannel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

class Moved implements ShouldBroadcastNow
{
    use InteractsWithSockets;

    public function __construct(public int $x)
    {
    }

    public function broadcastOn()
    {
        return [new PresenceChannel('room.7')];
    }
}
