"""Writes a thread, saves it, forks the session and reads the fork. Usage: tour.py HOST:PORT"""

import sys

import grpc
from sessiond.v1 import entry_pb2, session_service_pb2 as s, session_service_pb2_grpc as s_grpc
from sessiond.v1 import thread_pb2, thread_service_pb2 as t, thread_service_pb2_grpc as t_grpc


def item(kind, text):
    block = entry_pb2.ContentBlock(text=entry_pb2.TextBlock(text=text))
    return thread_pb2.Item(kind=kind, status=thread_pb2.TURN_STATUS_COMPLETED, content=[block])


channel = grpc.insecure_channel(sys.argv[1])
threads, sessions = t_grpc.ThreadServiceStub(channel), s_grpc.SessionServiceStub(channel)

thread = threads.CreateThread(t.CreateThreadRequest(thread=thread_pb2.Thread(model="gpt-4o"))).thread
for question, answer in [("What is a monad?", "A monoid, somewhere."), ("Shorter?", "A pattern for sequencing.")]:
    turn = threads.StartTurn(t.StartTurnRequest(thread_id=thread.thread_id)).turn
    threads.AppendItems(t.AppendItemsRequest(thread_id=thread.thread_id, turn_id=turn.turn_id, items=[
        item(thread_pb2.ITEM_KIND_USER_MESSAGE, question),
        item(thread_pb2.ITEM_KIND_AGENT_MESSAGE, answer),
    ]))
    threads.FinishTurn(t.FinishTurnRequest(
        thread_id=thread.thread_id, turn_id=turn.turn_id, status=thread_pb2.TURN_STATUS_COMPLETED))
    saved = sessions.SaveSession(s.SaveSessionRequest(thread_id=thread.thread_id))
    print(f"saved {saved.session.session_id}: {saved.message_count} messages, created: {saved.created}")

fork = sessions.ForkSession(s.ForkSessionRequest(session_id=saved.session.session_id, user_message_index=1))
print(f"forked to {fork.session.session_id} ({fork.session.title!r})")
print(f"before    {fork.removed_message.content[0].text.text!r}")
for chunk in sessions.ReadMessages(s.ReadMessagesRequest(session_id=fork.session.session_id)):
    for message in chunk.messages:
        print(f"  {entry_pb2.Role.Name(message.role):15} {message.content[0].text.text}")
