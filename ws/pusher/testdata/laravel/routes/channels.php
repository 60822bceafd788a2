<?php

use Illuminate\Support\Facades\Broadcast;

Broadcast::channel('room.{id}', static fn ($user, string $id) => ['name' => $user->id, 'room' => $id]);
